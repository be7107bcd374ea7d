"""Wiring: configuration, embedded servers, placement and the command line. Nobody imports this
package but itself.
"""
