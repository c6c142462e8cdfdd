"""What a user writes, checked: floor 0, imports nothing of the other rooms."""
