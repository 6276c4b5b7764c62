import { styleText } from 'node:util'

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Colours text, or returns it as it is where colours are not wanted. */
export type Paint = Readonly<Record<Style, (text: string) => string>>

/** Whether to colour was decided for the stream; styleText must not judge it again. */
export function createPaint(colours: boolean): Paint {
  const style = (name: Style) => (text: string) =>
    colours ? styleText(name, text, { validateStream: false }) : text
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  }
}
