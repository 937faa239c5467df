"""The schema's history: one linear chain of revisions, `NNNN_name.py`; every feature's tables are known here."""
