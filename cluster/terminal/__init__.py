"""The terminal: what a command says to a person while it runs, and where its log goes.

Every command may use it. It knows no command, no cluster and no options.
"""
