// OperatorTools
