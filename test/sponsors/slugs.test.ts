import { expect, it } from 'vitest'
import { slugFromName } from '../../src/sponsors/slugs.ts'

it('folds a name to ASCII', () => {
  const examples = {
    Acme: 'acme',
    'Acme Corp., Inc.': 'acme-corp-inc',
    'Café Ørsted & Søn': 'cafe-orsted-son',
    'Straße 7 — Łódź': 'strasse-7-lodz',
    "O'Reilly’s": 'oreillys',
    'ＷＩＤＥ ™': 'wide-tm',
    'İstanbul ışık': 'istanbul-isik',
    '--x--': 'x',
  }
  for (const [name, slug] of Object.entries(examples)) {
    expect(slugFromName(name, 'sponsor')).toBe(slug)
  }
})

it('uses the fallback for a name without any ASCII equivalent', () => {
  expect(slugFromName('株式会社', 'sponsor')).toBe('sponsor')
  expect(slugFromName('!!!', 'level')).toBe('level')
})

it('leaves room for a number and never ends with a hyphen', () => {
  const slug = slugFromName(`${'a'.repeat(179)} ${'b'.repeat(100)}`, 'sponsor')
  expect(slug).toBe('a'.repeat(179))
})
