"""Networks in PyTorch, and their export. The frame path imports nothing from here."""
