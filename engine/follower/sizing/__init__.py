"""Sizing: how much each row orders, over columns.

Nothing here changes a book, or makes an event.
"""
