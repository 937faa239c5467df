"""What a patient has to pay for: unpaid prescriptions and examinations."""
