"""Social-security and bank cards in a contact reader."""
