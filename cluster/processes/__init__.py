"""Child processes of one machine: started so that none is ever unknown, kept running, ended.

Nothing here knows NATS or Ray.
"""
