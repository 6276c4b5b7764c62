// Letters that have no decomposition in Unicode, so that NFKD leaves them whole.
const FOLDED: Record<string, string> = {
  æ: 'ae',
  œ: 'oe',
  ø: 'o',
  ß: 'ss',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  þ: 'th',
  ı: 'i',
}

// Leaves room for a suffix within the 200 characters of a slug.
const LONGEST = 180

/** `Café Ørsted GmbH` → `cafe-orsted-gmbh`; `fallback` when no letter or digit is left. */
export function slugFromName(name: string, fallback: string): string {
  const slug = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[\u0300-\u036f'’]/g, '')
    .replace(/[^\x20-\x7e]/g, (letter) => FOLDED[letter] ?? ' ')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, LONGEST)
    .replace(/^-+|-+$/g, '')
  return slug === '' ? fallback : slug
}
