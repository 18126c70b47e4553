"""What only a person knows of a study."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, StringConstraints

from tlmed.recipe.settings import Settings

Statement = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class StudySettings(Settings):
    """What only a person knows of a study, as the report is to state it; what is left out is "not stated".

    It changes no result: a run's report can be drawn again with more of it.

    Attributes:
        question: what the study wants to know.
        background: the clinical problem, present practice, models that exist.
        intended_use: for whom, by whom and where in the care of patients the model is meant to be used.
        inequalities: known ones in health between groups of people.
        design: whether data were gathered before or after the study was planned, and from trial, cohort or routine.
        setting: kind, number and places of the hospitals.
        years: from when to when patients were included.
        eligibility: which patients and examinations were taken and which left out.
        representativeness: how far they stand for the patients that the model is meant for.
        treatments: that patients had received and that may show in the images.
        acquisition: scanners, protocols, resolution.
        image_selection: how images were picked or cut out of whole examinations.
        deidentification: what was removed or changed, and how.
        reference_standard: what a label rests on, such as RT-PCR within 2 days.
        reference_standard_reason: why that one.
        annotators: who labelled, with which training and experience.
        test_annotation: how the test set was labelled, with which software, where it differs from the rest.
        rater_variability: how far raters agree, and how they settled what they did not agree on.
        blinding: what those who labelled did not know.
        sample_size: how it was arrived at, before the data were seen.
        ethics: the committee and its number; consent or waiver.
        registration: register and number, or that there is none.
        protocol: where it can be read, or that there is none.
        data_availability, code_availability: where, and under which conditions.
        funding: sources, and what part the funders had.
        conflicts: of interest.
        patient_involvement: of patients and the public, or that there was none.
    """

    # A year alone is a number in YAML.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    question: Statement | None = None
    background: Statement | None = None
    intended_use: Statement | None = None
    inequalities: Statement | None = None
    design: Statement | None = None
    setting: Statement | None = None
    years: Statement | None = None
    eligibility: Statement | None = None
    representativeness: Statement | None = None
    treatments: Statement | None = None
    acquisition: Statement | None = None
    image_selection: Statement | None = None
    deidentification: Statement | None = None
    reference_standard: Statement | None = None
    reference_standard_reason: Statement | None = None
    annotators: Statement | None = None
    test_annotation: Statement | None = None
    rater_variability: Statement | None = None
    blinding: Statement | None = None
    sample_size: Statement | None = None
    ethics: Statement | None = None
    registration: Statement | None = None
    protocol: Statement | None = None
    data_availability: Statement | None = None
    code_availability: Statement | None = None
    funding: Statement | None = None
    conflicts: Statement | None = None
    patient_involvement: Statement | None = None
