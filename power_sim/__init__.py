"""Orbit, Sun, battery, heat, workload, link and energy budget, and the scenarios that combine them."""
