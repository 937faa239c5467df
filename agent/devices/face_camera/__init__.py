"""The face camera: portraits that pass the gates, and a preview; nobody is recognised here."""
