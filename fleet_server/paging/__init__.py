"""Who is told of an incident, how, and until when."""
