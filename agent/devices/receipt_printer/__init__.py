"""Receipt printers that speak ESC/POS: what a receipt is, how it becomes bytes, and whether it was printed."""
