"""All facts by name: what a checklist's items may refer to."""

from __future__ import annotations

from collections.abc import Callable

from tlmed.report.facts import data_facts, evaluation_facts, limits, result_facts, training_facts
from tlmed.report.facts.fact import Fact
from tlmed.report.record.run_record import RunRecord

# Each returns None where the run folder does not hold it.
FACTS: dict[str, Callable[[RunRecord], Fact | None]] = {
    "accuracy_at_threshold": result_facts.accuracy_at_threshold,
    "audit": data_facts.audit,
    "calibration": result_facts.calibration,
    "calibration_method": evaluation_facts.calibration_method,
    "class_imbalance": training_facts.class_imbalance,
    "classes": data_facts.classes,
    "clusters": result_facts.clusters,
    "contrast": evaluation_facts.contrast,
    "counts": data_facts.counts,
    "data_sources": data_facts.data_sources,
    "delivered_model": training_facts.delivered_model,
    "disjointness": data_facts.disjointness,
    "ensembling": training_facts.ensembling,
    "exclusions": data_facts.exclusions,
    "explainability": training_facts.explainability,
    "external_testing": result_facts.external_testing,
    "failures": result_facts.failures,
    "fairness": training_facts.fairness,
    "goal": training_facts.goal,
    "initialisation": training_facts.initialisation,
    "input_quality": training_facts.input_quality,
    "internal_testing": result_facts.internal_testing,
    "intervals": evaluation_facts.intervals,
    "limitations": limits.limitations,
    "measures": evaluation_facts.measures,
    "missing_data": data_facts.missing_data,
    "needed_size": evaluation_facts.needed_size,
    "network": training_facts.network,
    "output": training_facts.output,
    "partition": data_facts.partition,
    "performance": result_facts.performance,
    "predictors": data_facts.predictors,
    "preprocessing": data_facts.preprocessing,
    "recipe": training_facts.recipe_file,
    "robustness": result_facts.robustness,
    "sampling": data_facts.sampling,
    "seeds": training_facts.seeds,
    "selection": training_facts.selection,
    "software": training_facts.software,
    "threshold": evaluation_facts.threshold,
    "training": training_facts.training,
    "updating": evaluation_facts.updating,
    "verdict": result_facts.verdict,
}
