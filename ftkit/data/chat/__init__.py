"""Chats: the messages of a row, and what a chat template makes of them."""
