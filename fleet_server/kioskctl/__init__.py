"""`kioskctl`: the fleet server's REST API on a command line. Imports `wire` and `kit`, nothing of the server itself."""
