"""Processes: started so that none is ever unknown, kept running, ended."""
