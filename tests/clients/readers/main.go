// Group readers on sarama and kafka-go: they print the offset of each message that they are given, until their input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
)

func main() {
	library, bootstrap, topic, group := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var err error
	switch library {
	case "sarama":
		err = readBySarama(ctx, bootstrap, topic, group)
	case "kafka-go":
		err = readByKafkaGo(ctx, bootstrap, topic, group)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const longestWait = 300 * time.Millisecond

func readByKafkaGo(ctx context.Context, bootstrap, topic, group string) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:     []string{bootstrap},
		GroupID:     group,
		Topic:       topic,
		StartOffset: kafka.FirstOffset,
		MaxWait:     longestWait,
	})
	defer reader.Close()
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		fmt.Println(message.Offset)
	}
}

func readBySarama(ctx context.Context, bootstrap, topic, group string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.MaxWaitTime = longestWait
	consumer, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{topic}, printer{}); err != nil {
			return err
		}
	}
	return nil
}

type printer struct{}

func (printer) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (printer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			fmt.Println(message.Offset)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
