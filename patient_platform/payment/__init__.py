"""Orders, money, posting and paper: what a patient pays, and never twice."""
