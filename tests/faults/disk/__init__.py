"""Disks that are full for a while."""
