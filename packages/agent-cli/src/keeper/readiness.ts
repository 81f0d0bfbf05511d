/** What a keeper tells whoever has started it: one word on a pipe of its own, then its end. Any other text is an error's message. */

export const readinessFd = 3

/** It listens on its socket. */
export const ready = "ready\n"

/** Another keeper has the socket, or is about to. */
export const occupied = "occupied\n"
