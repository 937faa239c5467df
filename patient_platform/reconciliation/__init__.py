"""One day, three books: ours, the channel's bill, the HIS's list. Every difference has a name."""
