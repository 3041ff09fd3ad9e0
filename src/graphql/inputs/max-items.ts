/** Maximum length of every list that a client sends: declared with `maxItems`, stated in its description. */
import SchemaBuilder, {
  BasePlugin,
  type FieldRequiredness,
  type InputType,
  type PothosInputFieldConfig,
  type PothosInputFieldType,
  type SchemaTypes,
} from '@pothos/core';
import { formatNumber } from '../../infra/format-number.ts';

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      maxItems: MaxItemsPlugin<Types>;
    }
    export interface InputFieldOptions<
      Types extends SchemaTypes = SchemaTypes,
      Type extends InputType<Types> | [InputType<Types>] = InputType<Types> | [InputType<Types>],
      Req extends FieldRequiredness<Type> = FieldRequiredness<Type>,
    > {
      /** Maximum number of items. Default for lists of enum values: the number of values. */
      maxItems?: number;
    }
  }
}

const NAME = 'maxItems';

/** Refuses to build a schema in which a list argument or a list member has no maximum. */
class MaxItemsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override onInputFieldConfig(config: PothosInputFieldConfig<Types>): typeof config {
    if (config.type.kind !== 'List') return config;
    const { maxItems = this.#enumSize(config.type) } = config.pothosOptions as {
      maxItems?: number;
    };
    if (maxItems === undefined) {
      throw new Error(`The list ${config.parentType ?? ''}.${config.name} needs \`maxItems\``);
    }
    return {
      ...config,
      description: withMaximum(config.description ?? '', maxItems),
      extensions: { ...config.extensions, maxItems },
    };
  }

  #enumSize(type: PothosInputFieldType<Types>): number | undefined {
    const item = type.kind === 'List' ? type.type : type;
    if (item.kind !== 'Enum') return undefined;
    const { values } = this.buildCache.getTypeConfig(item.ref, 'Enum');
    return Object.keys(values).length;
  }
}

/** Appends the maximum to a description, unless it already states it, with or without a thousands separator. */
function withMaximum(description: string, maxItems: number): string {
  const formatted = formatNumber(maxItems);
  const stated = maxItems === 1 ? 'at most (?:one|1)' : `(?:${maxItems}|${formatted})`;
  if (new RegExp(`(?<![\\d,])${stated}(?!,?\\d)`, 'i').test(description)) return description;
  return `${description} At most ${formatted} ${maxItems === 1 ? 'item' : 'items'}.`.trimStart();
}

SchemaBuilder.registerPlugin(NAME, MaxItemsPlugin);

export default NAME;
