"""A standing simulation: the application's processes in a seeded world where whatever may go wrong does."""
