import { createLogger } from '../../src/shared/logger.ts'

export const silent = createLogger('silent')
