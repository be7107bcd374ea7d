"""Sizing: how much each row orders, over columns. It reads books and changes nothing."""
