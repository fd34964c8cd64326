"""Generated from proto/ by generate_stubs.py. Do not edit."""
