"""Schema versions of the patient platform's store."""
