// What a Vendure shop needs for resyncd: a unique key on customers and products, and one mutation for a sale, because
// Vendure's own API needs several. In the configuration: plugins: [ResyncdPlugin].
// Plain JavaScript, so decorators are called as functions.
const { Inject } = require('@nestjs/common');
const { ModuleRef } = require('@nestjs/core');
const { Args, Mutation, Resolver } = require('@nestjs/graphql');
const {
    Allow, Ctx, EntityNotFoundError, Order, OrderService, Permission, PluginCommonModule, ProductVariant, Transaction,
    TransactionalConnection, UserInputError, VendurePlugin, isGraphQlErrorResult,
} = require('@vendure/core');
const gql = require('graphql-tag').gql;

const schema = gql`
    input ResyncdLine { sku: String!, quantity: Int! }
    extend type Mutation {
        resyncdSale(code: String!, lines: [ResyncdLine!]!): ID!
        resyncdChangeSale(code: String!, lines: [ResyncdLine!]!): ID!
        resyncdDeleteSale(code: String!): Boolean!
    }
`;

// The code is the terminal's own, and unique in the database. An exception rolls back the whole mutation.
class Sales {
    constructor(modules) { this.modules = modules; }

    get orders() { return this.modules.get(OrderService, { strict: false }); }

    table(ctx, entity) { return this.modules.get(TransactionalConnection, { strict: false }).getRepository(ctx, entity); }

    async draft(ctx, code) {
        const order = await this.orders.findOneByCode(ctx, code);
        if (!order) throw new EntityNotFoundError('Order', code);
        if (order.state !== 'Draft') throw new UserInputError(`Order ${code} is ${order.state}, and no draft any more`);
        return order;
    }

    async fill(ctx, order, lines) {
        for (const { sku, quantity } of lines) {
            const variant = await this.table(ctx, ProductVariant).findOne({ where: { sku } });
            if (!variant) throw new UserInputError(`No product variant has the SKU ${sku}`);
            const result = await this.orders.addItemToOrder(ctx, order.id, variant.id, quantity);
            if (isGraphQlErrorResult(result)) throw new UserInputError(`${sku}: ${result.errorCode}`);
        }
        return order.id;
    }

    async resyncdSale(ctx, code, lines) {
        if (await this.orders.findOneByCode(ctx, code)) throw new UserInputError(`There is an order with the code ${code}`);
        const order = await this.orders.createDraft(ctx);
        await this.table(ctx, Order).update(order.id, { code });
        return this.fill(ctx, order, lines);
    }

    async resyncdChangeSale(ctx, code, lines) {
        const order = await this.draft(ctx, code);
        await this.orders.removeAllItemsFromOrder(ctx, order.id);
        return this.fill(ctx, order, lines);
    }

    async resyncdDeleteSale(ctx, code) {
        await this.orders.deleteOrder(ctx, (await this.draft(ctx, code)).id);
        return true;
    }
}
Inject(ModuleRef)(Sales, undefined, 0);
for (const [name, right] of [
    ['resyncdSale', Permission.CreateOrder], ['resyncdChangeSale', Permission.UpdateOrder], ['resyncdDeleteSale', Permission.DeleteOrder],
]) {
    const method = Object.getOwnPropertyDescriptor(Sales.prototype, name);
    for (const decorate of [Mutation(), Transaction(), Allow(right)]) decorate(Sales.prototype, name, method);
    Ctx()(Sales.prototype, name, 0);
    Args('code')(Sales.prototype, name, 1);
    if (name !== 'resyncdDeleteSale') Args('lines')(Sales.prototype, name, 2);
}
Resolver()(Sales);

class ResyncdPlugin {}
VendurePlugin({
    imports: [PluginCommonModule],
    compatibility: '^3.0.0',
    adminApiExtensions: { schema, resolvers: [Sales] },
    configuration: (config) => {
        const key = { name: 'resyncdKey', type: 'string', nullable: true, unique: true, public: false };
        config.customFields.Customer.push(key);
        config.customFields.Product.push({ ...key });
        return config;
    },
})(ResyncdPlugin);

module.exports = { ResyncdPlugin };
