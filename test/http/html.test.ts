import { describe, expect, it } from 'vitest'
import { html, inlineMarkdown, markdown } from '../../src/http/html.ts'

describe('a page', () => {
  it('escapes every text, and inserts pieces and lists of pieces', () => {
    const items = ['<script>', 'a & "b"'].map((text) => html`<li>${text}</li>`)
    expect(html`<ul>${items}</ul>`.text).toBe(
      '<ul><li>&lt;script&gt;</li><li>a &amp; &quot;b&quot;</li></ul>',
    )
  })

  it('shows code and bold of a line of Markdown, but no HTML in it', () => {
    expect(inlineMarkdown('**Send** `<key>` <b>now</b>').text).toBe(
      '<strong>Send</strong> <code>&lt;key&gt;</code> &lt;b&gt;now&lt;/b&gt;',
    )
  })

  it('shows headings, lists, tables, code and paragraphs of Markdown', () => {
    const text = [
      'First\nline.',
      '## Title',
      '- one\n  more\n- two',
      '| a | b |\n|---|---|\n| `x` | 1 |',
      '```sh\ncurl <url>\n\n# - no list\n```\n\nEnd.',
    ].join('\n\n')
    expect(markdown(text).text).toBe(
      [
        '<p>First line.</p>',
        '<h3>Title</h3>',
        '<ul><li>one more</li><li>two</li></ul>',
        '<table><thead><tr><th>a</th><th>b</th></tr></thead>',
        '<tbody><tr><td><code>x</code></td><td>1</td></tr></tbody></table>',
        '<pre>curl &lt;url&gt;\n\n# - no list</pre>',
        '<p>End.</p>',
      ].join(''),
    )
  })
})
