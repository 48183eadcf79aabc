"""Slot state in, decision out: rules, learned policies and the shield around them."""
