"""The operator's verbs, one file for each noun. `__main__` puts them together.

They work straight on the database that `--database` or the settings name, beside running servers: whoever may open it
is an operator, and no credential has to be kept for it. Only `submit` is a client of the API, as any submitter is.
"""
