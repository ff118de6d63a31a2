"""What nobody would send: any command, any reply, any text, without an exception and within bounds."""
