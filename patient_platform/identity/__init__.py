"""Who the patient is: found in the HIS, kept sealed, shown masked."""
