"""What the supervisor and its children say to each other, and over what: messages, the channel, a child's seat."""
