"""What watching Redis costs: in CPU time and in memory, beside others who watch it."""
