/** Names and notes come from sponsors; what would move the cursor or forge a line does not reach it. */
export function plainText(text: string): string {
  // The control characters C0, DEL and C1, and the marks that reverse the direction of what follows.
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, ' ')
}
