import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hardWords, sentencesIn, type Text } from './plain-words.ts'
import { ROOT, readSourceTree } from './source-tree.ts'

const linesOf = async (file: string): Promise<Text[]> =>
  (await readFile(join(ROOT, file), 'utf8')).split('\n').map((text) => ({ file, text }))

async function pagesOf(folder: string): Promise<Text[]> {
  const names = await readdir(join(ROOT, folder), { recursive: true })
  const read = /\.(md|yaml|yml|cfg|ini|env|service|txt)$/
  const pages = names.filter((name) => read.test(name)).map((name) => join(folder, name))
  return (await Promise.all(pages.map(linesOf))).flat()
}

describe('texts that a person reads', () => {
  it.each(['src', 'demo'])('use plain words in the messages of %s', async (folder) => {
    const files = [...(await readSourceTree(folder))]
    expect(hardWords(files.flatMap(([file, source]) => sentencesIn(file, source)))).toEqual([])
  })

  it.each(['README.md', 'CHANGELOG.md', '.env.example', 'openapi.yaml'])(
    'use plain words in %s',
    async (file) => {
      expect(hardWords(await linesOf(file))).toEqual([])
    },
  )

  it('use plain words in docs, also in the files for deployment', async () => {
    // The glossary itself names the words that are not used.
    const texts = (await pagesOf('docs')).filter(({ text }) => !text.startsWith('| '))
    expect(hardWords(texts)).toEqual([])
  })
})

describe('the search for hard words', () => {
  it.each([
    'Read the purchase anew from Stripe',
    'What is used up, is not valid',
    'When the bank wants the payer, nothing is charged',
    'events were left to their lease',
    'The endpoint is told of it',
    'An archived plan cannot be had by others',
  ])('finds one in "%s"', (text) => {
    expect(hardWords([{ file: 'x', text }])).not.toEqual([])
  })

  it('reads string literals of a program, and neither its comments nor its names', () => {
    const source = [
      `// read it anew from Stripe`,
      `/** Nobody reads this. */`,
      `const anew = 'anew'`,
      `throw new Error('Cannot read the purchase anew.')`,
      'log.info(`${count} purchases were left to their lease`)',
    ].join('\n')
    expect(hardWords(sentencesIn('x.ts', source)).map(({ word }) => word)).toEqual([
      'anew',
      'were left to',
    ])
  })
})
