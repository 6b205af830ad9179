"""The only door to the database. Everything that speaks SQL lives here.

`database` runs transactions, `migrate` brings a schema up to date; the others hold the statements of one noun each.
"""
