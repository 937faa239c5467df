"""The dead-man's switch: a process of its own, best on another machine, that calls people when nobody else can."""
