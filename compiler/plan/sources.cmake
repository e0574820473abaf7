# The plan: where everything of an instance lies.
set(sources
    plan.c)
