"""QR and barcode scanners: bytes to codes, and what a code may be."""
