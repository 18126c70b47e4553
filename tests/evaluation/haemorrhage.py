"""113 patients with subarachnoid haemorrhage: outcome after 6 months, WFNS grade on admission, S100B in serum (ug/l).

Turck et al., Intensive Care Med 2010;36:107, as distributed with pROC, whose tests publish what comes out of it. Each
entry: outcome good or poor, grade, S100B.
"""

from __future__ import annotations

import numpy as np

_TABLE = """
G,1,.13 G,1,.14 G,1,.1 G,1,.04 P,3,.13 P,2,.1 G,5,.47 P,4,.16 G,1,.18 G,2,.1 P,5,.12 G,2,.1 P,5,.44 P,5,.71 G,1,.04
G,2,.08 P,5,.49 G,2,.04 P,2,.07 P,5,.33 P,2,.09 G,1,.09 P,1,.07 G,1,.11 G,1,.07 G,2,.17 G,1,.07 G,2,.11 G,1,.13 G,1,.19
G,3,.05 G,4,.16 P,2,.41 G,1,.14 G,4,.34 P,5,.35 P,4,.48 G,1,.09 P,4,.96 P,2,.25 G,5,.5 G,5,.46 G,1,.16 G,1,.07 G,2,.43
G,4,.45 G,1,.11 G,1,.08 G,2,.09 P,5,.86 P,5,.52 G,2,.08 G,1,.06 G,2,.13 P,5,2.07 G,1,.1 G,2,.14 G,2,.15 P,2,.07 G,1,.06
P,5,.77 G,1,.05 G,1,.09 P,2,.3 P,5,.03 P,2,.09 G,1,.04 P,4,.23 P,5,.7 G,2,.09 P,4,.27 P,4,.71 P,1,.08 P,4,.26 G,1,.08
G,2,.16 G,1,.09 P,4,.13 P,2,.1 G,1,.08 P,2,.11 G,3,.33 G,2,.11 G,4,.28 G,2,.07 G,1,.1 G,4,.32 P,5,.22 G,1,.07 G,1,.05
G,5,.24 G,4,.38 G,2,.1 G,2,.15 G,1,.08 G,1,.14 G,1,.1 G,3,.07 G,1,.04 G,2,.19 P,5,.56 P,2,.14 P,2,.58 P,5,.32 P,5,.82
P,5,.74 G,2,.15 G,4,.47 G,4,.17 P,5,.44 G,1,.15 G,1,.5 G,1,.48
"""
_PATIENTS = [entry.split(",") for entry in _TABLE.split()]

IS_POOR = np.array([entry[0] == "P" for entry in _PATIENTS])
WFNS = np.array([float(entry[1]) for entry in _PATIENTS])
S100B = np.array([float(entry[2]) for entry in _PATIENTS])
