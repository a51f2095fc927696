"""The config of a run, typed and checked; the methods; and variants of a config by name.

Nothing is imported here: a stage that needs the registry of methods does not depend on the whole config.
"""
