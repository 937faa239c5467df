# `make` lists the tasks. They live in ./run, so that a machine without make has them too.

.DEFAULT_GOAL := help
TASKS := help demo test check bench test-slow setup web schemas lock clean

.PHONY: $(TASKS)
$(TASKS):
	@exec ./run $@
