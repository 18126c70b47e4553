"""What the report's sentences cite, by the short form in which they do."""

from __future__ import annotations

REFERENCES = {
    "Bamber 1975": "Bamber D. The area above the ordinal dominance graph and the area below the receiver operating "
    "characteristic graph. J Math Psychol 1975;12:387-415.",
    "Banerjee 1960": "Banerjee SK. Approximate confidence interval for linear functions of means of k populations when "
    "the population variances are not equal. Sankhya 1960;22:357-358.",
    "Berger 1982": "Berger RL. Multiparameter hypothesis testing and acceptance sampling. Technometrics "
    "1982;24:295-300.",
    "Bouckaert & Frank 2004": "Bouckaert RR, Frank E. Evaluating the replicability of significance tests for comparing "
    "learning algorithms. In: Advances in knowledge discovery and data mining. Lect Notes Comput Sci 2004;3056:3-12.",
    "Brier 1950": "Brier GW. Verification of forecasts expressed in terms of probability. Mon Weather Rev 1950;78:1-3.",
    "Cox 1958": "Cox DR. Two further applications of a model for binary regression. Biometrika 1958;45:562-565.",
    "DeLong et al. 1988": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated "
    "receiver operating characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845.",
    "Dunn 1961": "Dunn OJ. Multiple comparisons among means. J Am Stat Assoc 1961;56:52-64.",
    "Efron & Tibshirani 1993": "Efron B, Tibshirani RJ. An introduction to the bootstrap. Chapman & Hall, 1993.",
    "Guo et al. 2017": "Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. Proc Mach "
    "Learn Res 2017;70:1321-1330.",
    "Hillis 2007": "Hillis SL. A comparison of denominator degrees of freedom methods for multiple observer ROC "
    "analysis. Stat Med 2007;26:596-619.",
    "Holm 1979": "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.",
    "Korn & Graubard 1998": "Korn EL, Graubard BI. Confidence intervals for proportions with small expected number of "
    "positive counts estimated from survey data. Surv Methodol 1998;24:193-201.",
    "Loshchilov & Hutter 2019": "Loshchilov I, Hutter F. Decoupled weight decay regularization. International "
    "Conference on Learning Representations, 2019.",
    "Meng et al. 2022": "Meng J, Tan Z, Yu Y, Wang P, Liu S. TL-Med: a two-stage transfer learning recognition model "
    "for medical images of COVID-19. Biocybern Biomed Eng 2022;42:842-855. doi:10.1016/j.bbe.2022.04.005",
    "Nadeau & Bengio 2003": "Nadeau C, Bengio Y. Inference for the generalization error. Mach Learn 2003;52:239-281.",
    "Obuchowski & Rockette 1995": "Obuchowski NA, Rockette HE. Hypothesis testing of diagnostic accuracy for multiple "
    "readers and multiple tests: an ANOVA approach with dependent observations. Commun Stat Simul Comput "
    "1995;24:285-308.",
    "Obuchowski 1997": "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578.",
    "Pepe 2003": "Pepe MS. The statistical evaluation of medical tests for classification and prediction. Oxford "
    "University Press, 2003.",
    "Platt 1999": "Platt JC. Probabilistic outputs for support vector machines and comparisons to regularized "
    "likelihood methods. In: Advances in large margin classifiers. MIT Press, 1999:61-74.",
    "Schuirmann 1987": "Schuirmann DJ. A comparison of the two one-sided tests procedure and the power approach for "
    "assessing the equivalence of average bioavailability. J Pharmacokinet Biopharm 1987;15:657-680.",
    "Wilson 1927": "Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc "
    "1927;22:209-212.",
    "Zadrozny & Elkan 2002": "Zadrozny B, Elkan C. Transforming classifier scores into accurate multiclass probability "
    "estimates. Proc 8th ACM SIGKDD, 2002:694-699.",
}


def cited_in(text: str) -> list[str]:
    """Return the references whose short form stands in a text, in order of the first name."""
    return [reference for short, reference in REFERENCES.items() if short in text]
