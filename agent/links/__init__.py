"""Links move bytes and know no device."""
