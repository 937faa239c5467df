"""The print spool: jobs that survive a power cut, and a journal that says what became of each."""
