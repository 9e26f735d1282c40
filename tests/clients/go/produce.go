package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type transaction struct {
	Outcome *string  `json:"outcome"`
	Records []record `json:"records"`
}

type delivery struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Error     *string `json:"error"`
}

func produce(order command) (any, error) {
	opts, err := order.Options.producer()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	deliveries := []delivery{}
	for _, transaction := range order.Transactions {
		done, err := perform(client, transaction, order.Options.Acks == "0")
		if err != nil {
			return nil, err
		}
		deliveries = append(deliveries, done...)
	}
	return map[string]any{"deliveries": deliveries}, nil
}

func perform(client *kgo.Client, transaction transaction, offsetsUnknown bool) ([]delivery, error) {
	context, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if transaction.Outcome != nil {
		if err := client.BeginTransaction(); err != nil {
			return nil, err
		}
	}
	deliveries := make([]delivery, len(transaction.Records))
	for index, record := range transaction.Records {
		client.Produce(context, record.toKafka(), func(sent *kgo.Record, err error) {
			deliveries[index] = delivery{Topic: sent.Topic, Partition: sent.Partition, Offset: sent.Offset}
			if offsetsUnknown {
				deliveries[index].Offset = -1
			}
			if err != nil {
				text := err.Error()
				deliveries[index] = delivery{Topic: sent.Topic, Partition: -1, Offset: -1, Error: &text}
			}
		})
	}
	if err := client.Flush(context); err != nil {
		return nil, err
	}
	if transaction.Outcome != nil {
		commit := kgo.TransactionEndTry(*transaction.Outcome == "commit")
		if err := client.EndTransaction(context, commit); err != nil {
			return nil, err
		}
	}
	return deliveries, nil
}
